"""minimoto: folders of photos become styled pictures, enlarged pictures and films, on a fleet that runs itself."""

__version__ = "0.1.0"
