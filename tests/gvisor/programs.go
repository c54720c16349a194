//go:build tools

package main

import _ "gvisor.dev/gvisor/runsc"
