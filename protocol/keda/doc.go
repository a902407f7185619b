// Package keda has Kubernetes scale Serval by what its streams have to do: it is an external scaler of KEDA, a gRPC service on
// the port of inference. A ScaledObject's trigger of type external (or external-push) names the stream:
//
//	scalerAddress     the gRPC port, such as serval.models.svc:8081
//	stream            the stream's name
//	targetLag         messages that one replica is meant to have before it; default 1000
//	activationLag     more than that make it active, which is of idleReplicaCount; default 0
//	apiKeyFromEnv     where keys are configured: the variable of the scaled container that has one (or apiKey, the key itself)
//
// What is counted are the messages of all replicas' parts together, so that whichever replica KEDA asks gives the same answer.
//
// Made by protocol/all. It imports the root, protocol and wire/keda.
package keda
