"""What is wrong with a run, told before anything is trained; most of it without torch."""
