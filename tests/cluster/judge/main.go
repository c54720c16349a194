// The judge of NetworkPolicies: cyclonus' own command line, at the version
// go.mod names, built from its published module.
package main

import "github.com/mattfenwick/cyclonus/pkg/cli"

func main() { cli.RunRootCommand() }
