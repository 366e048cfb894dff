"""What `make up` needs besides the services' images: passwords, accounts and schemas."""
