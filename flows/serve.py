"""Answer with the champion, over HTTP."""
