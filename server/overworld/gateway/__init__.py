"""Players' sockets, sessions, views, routing and the HTTP pages."""
