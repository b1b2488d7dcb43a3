"""A real browser for tests."""

NO_BROWSER = "Chromium is not installed"
