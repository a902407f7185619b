// Package spell guesses which of the words that there are somebody meant: of keys in a configuration, of models. config and
// registry call it; it imports the standard library only.
package spell
