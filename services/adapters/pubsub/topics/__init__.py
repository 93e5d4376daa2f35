"""The topics and subscriptions themselves: what is wished for, what there is, and the steps between."""
