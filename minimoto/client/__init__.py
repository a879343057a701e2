"""What a person asks for: send a folder, watch the job, fetch its results. The commands in ``minimoto.cli`` call it."""
