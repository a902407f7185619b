// Package input turns a user's file (CSV, JSON, NPY, NPZ, a picture, or any bytes where the model's recipe says so) into
// the tensors of one request. The commands call it; it imports the root and client/element.
package input
