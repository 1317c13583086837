"""Answering over HTTP: the app, its schema, its protocol and the prediction log."""
