"""Every method on several data sets with honest selection, and what it says against ERM."""
