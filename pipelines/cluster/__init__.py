"""Commands for a cluster, through the official clients and the user's kubeconfig."""
