"""What people see of a run or a graph: `html.write_report`, `draw.draw_graph`, `terminal` tables."""
