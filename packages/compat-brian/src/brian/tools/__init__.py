"""What scripts import from ``brian.tools``: ``taskfarm`` and ``datamanager``."""
