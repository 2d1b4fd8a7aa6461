"""`claims:`: what a recipe says must hold, measured."""
