"""The web app: hear, see and ask, in a browser."""
