"""What the command line does on a cluster, through the official clients and the user's kubeconfig."""
