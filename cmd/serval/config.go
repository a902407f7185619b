package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"serval/config"
	engines "serval/engine/all"
	"serval/server"

	"serval"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check a configuration, or show what it may hold", Args: cobra.NoArgs, RunE: showHelp}
	c.AddCommand(configCheck(), configSchema(), configHashKey())
	return c
}

func configCheck() *cobra.Command {
	return &cobra.Command{
		Use:     "check [FILE...]",
		Short:   "Check serval.yaml, model.yaml, config.pbtxt and model-settings.json files; every mistake at once, with its place",
		Example: "  serval config check serval.yaml models/*/config.pbtxt",
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{"serval.yaml"}
			}
			bad := false
			for _, file := range args {
				raw, err := os.ReadFile(file)
				if err != nil {
					return usage(err)
				}
				notes, known, err := server.CheckModelFile(file, raw)
				if !known {
					_, err = config.Read(config.Source{Data: raw, File: file, Env: os.LookupEnv, Engines: engines.Options(), Plugins: server.StreamPlugins(), Streams: server.StreamCheck()})
				}
				if err != nil {
					bad = true
					fmt.Println(err)
					continue
				}
				for _, note := range notes {
					fmt.Println(file + ": no effect: " + note)
				}
				fmt.Println(file + ": ok")
			}
			if bad {
				return &exitError{code: exitUsage}
			}
			return nil
		},
	}
}

func configSchema() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [server|model]",
		Short:     "Print the JSON Schema of serval.yaml or of a model.yaml, for editors",
		Example:   "  serval config schema > serval.schema.json",
		Args:      cobra.MaximumNArgs(1),
		ValidArgs: []string{"server", "model"},
		RunE: func(_ *cobra.Command, args []string) error {
			var raw []byte
			var err error
			switch {
			case len(args) == 0 || args[0] == "server":
				cfg := config.Default()
				cfg.Engines, cfg.Plugins = engines.Options(), server.StreamPlugins()
				raw, err = config.Schema("serval.yaml", cfg)
			case args[0] == "model":
				raw, err = config.Schema("model.yaml", &serval.ModelSettings{})
			default:
				return usage(fmt.Errorf("%q: use server or model", args[0]))
			}
			if err == nil {
				_, err = fmt.Println(string(raw))
			}
			return err
		},
	}
}

func configHashKey() *cobra.Command {
	return &cobra.Command{
		Use:     "hash-key",
		Short:   "Read an API key from standard input and print the hash that serval.yaml holds",
		Example: "  head -c 32 /dev/urandom | base64 | tee key.txt | serval config hash-key",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := bufio.NewReader(os.Stdin).ReadString('\n')
			if key = strings.TrimSpace(key); key == "" {
				return usage(fmt.Errorf("no key on standard input (%v)", err))
			}
			fmt.Println(config.HashKey(key))
			return nil
		},
	}
}
