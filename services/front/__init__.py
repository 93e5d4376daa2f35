"""The HTTP/1.1 front: parses requests, writes replies, keeps memory and slow clients in bounds."""
