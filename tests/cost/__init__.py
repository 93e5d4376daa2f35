"""What a request costs on Google's services: messages and store operations counted, priced by lists."""
