"""What a cluster is asked for: TrainJobs, InferenceServices and their settings; and how a run begins."""
