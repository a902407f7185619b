// Package triton reads the model configurations of Triton's repositories, config.pbtxt, and says what Serval does with each
// field: Settings returns the serval.ModelSettings that serve the model as Triton would, or an error that names every field
// that cannot be honoured and what to do. Complete goes the other way: the configuration as Triton shows it of a model that
// was loaded.
//
// Called by server (a model's folder) and protocol/oip (a configuration that a load request brings, and those that clients
// ask for). It imports the root and wire/inference.
package triton
