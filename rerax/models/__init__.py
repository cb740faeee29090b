"""Networks whose matrices lie on crossbars."""
