package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

const zone = ".svc.cluster.local."

// The addresses of a Service, as the cluster's DNS gives them: its own, or
// those of its ready pods where it has none (headless). false: there is no
// such Service.
func lookup(api kubernetes.Interface, name string) ([]string, bool) {
	part := strings.Split(strings.TrimSuffix(strings.ToLower(name), zone), ".")
	if !strings.HasSuffix(strings.ToLower(name), zone) || len(part) != 2 {
		return nil, false
	}
	ctx := context.Background()
	service, err := api.CoreV1().Services(part[1]).Get(ctx, part[0], metav1.GetOptions{})
	if err != nil {
		return nil, false
	}
	if service.Spec.ClusterIP != "None" {
		return []string{service.Spec.ClusterIP}, true
	}
	slices, err := api.DiscoveryV1().EndpointSlices(part[1]).List(ctx,
		metav1.ListOptions{LabelSelector: "kubernetes.io/service-name=" + part[0]})
	if err != nil {
		return nil, false
	}
	all := []string{}
	for _, slice := range slices.Items {
		for _, end := range slice.Endpoints {
			if end.Conditions.Ready == nil || *end.Conditions.Ready {
				all = append(all, end.Addresses...)
			}
		}
	}
	return all, true
}

func answer(api kubernetes.Interface, packet []byte) ([]byte, error) {
	var parser dnsmessage.Parser
	head, err := parser.Start(packet)
	if err != nil {
		return nil, err
	}
	question, err := parser.Question()
	if err != nil {
		return nil, err
	}
	addresses, found := lookup(api, question.Name.String())
	out := dnsmessage.Message{
		Header: dnsmessage.Header{ID: head.ID, Response: true, Authoritative: true,
			RecursionDesired: head.RecursionDesired},
		Questions: []dnsmessage.Question{question},
	}
	if !found {
		out.RCode = dnsmessage.RCodeNameError
	}
	for _, text := range addresses {
		ip := net.ParseIP(text).To4()
		if ip == nil || question.Type != dnsmessage.TypeA {
			continue
		}
		out.Answers = append(out.Answers, dnsmessage.Resource{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: 5},
			Body:   &dnsmessage.AResource{A: [4]byte(ip)},
		})
	}
	return out.Pack()
}

// A cluster's DNS, small: names of Services over UDP, no other names. (CoreDNS
// does the same; to build it takes two minutes more.)
func serveNames() int {
	kubeconfig := flag.String("kubeconfig", "", "who asks the API server")
	listen := flag.String("listen", "", "address")
	flag.Parse()
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	api := kubernetes.NewForConfigOrDie(config)
	socket, err := net.ListenPacket("udp", *listen)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	for {
		packet := make([]byte, 1500)
		n, from, err := socket.ReadFrom(packet)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		go func() {
			if reply, err := answer(api, packet[:n]); err == nil {
				_, _ = socket.WriteTo(reply, from)
			}
		}()
	}
}
