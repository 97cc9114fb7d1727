"""Three small components for cftpcluster, to start your own from: a backend, a checker and an observer."""
