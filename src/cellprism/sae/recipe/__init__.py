"""The automatic recipe: which SAE an embedding asks for."""

from cellprism.sae.recipe.choice import IDENTIFIED, Recipe, choose_recipe, fit_auto

__all__ = ["IDENTIFIED", "Recipe", "choose_recipe", "fit_auto"]
