"""What runs in processes of its own: upstreams, a bare relay, load."""
