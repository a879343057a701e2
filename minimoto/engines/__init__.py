"""Models and numerics; nothing here knows of jobs, queues or clouds."""
