"""What a recipe's claims can measure of a model: each check is a function that returns a number."""
