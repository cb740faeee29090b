"""Gates behind rows and columns, and the budgets that they meet."""
