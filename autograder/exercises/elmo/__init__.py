"""The exercises on word vectors: what each asks, accepts, refuses and diagnoses. They are named in homework order."""

from autograder.exercises.elmo import company, highways, mixing, negatives, neighbours, targets

skipgram_pairs = company.skipgram_pairs
noise_distribution = company.noise_distribution
negative_sampling_loss = negatives.negative_sampling_loss
cosine_neighbours = neighbours.cosine_neighbours
highway = highways.highway
language_model_targets = targets.language_model_targets
scalar_mix = mixing.scalar_mix
