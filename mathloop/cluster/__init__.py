"""What a cluster is asked for: TrainJobs, InferenceServices and their settings. Knows nothing of KFP."""
