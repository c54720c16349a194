// gVisor's shim for containerd as it is, but for two things.
//
// It lowers its own OOM score, and ends where the machine's root may not. In a
// user namespace it lets that be: so it is told that it is in one.
//
// Asked to start it answers in a form that containerd knows since 1.7. The form
// before that, an address alone, is understood by all.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	_ "unsafe" // for go:linkname

	_ "github.com/moby/sys/userns"
	"gvisor.dev/gvisor/shim/v1/cli"
)

//go:linkname inUserNS github.com/moby/sys/userns.inUserNS
var inUserNS func() bool

const itself = "PODTERM_SHIM_ITSELF"

// The address out of what the shim itself answers.
func start() error {
	var answer struct{ Address string }

	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), itself+"=yes")
	cmd.Stdin, cmd.Stderr = os.Stdin, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, &answer); err != nil {
		return err
	}
	fmt.Print(answer.Address)
	return nil
}

func main() {
	if slices.Contains(os.Args, "start") && os.Getenv(itself) == "" {
		if err := start(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	inUserNS = func() bool { return true }
	cli.Main()
}
