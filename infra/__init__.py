"""What installs and deploys Penstock; no part of the package."""
