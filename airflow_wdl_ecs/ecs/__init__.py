"""The only room that knows ECS's shapes: settings, request, client, poller, status."""
