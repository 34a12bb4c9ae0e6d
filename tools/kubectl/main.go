// tools/kubectl/main.go -- kubectl, of whose commands it has only those that documents and tests run.
//
// To build all of kubectl's would take 40 % longer. They are added here one by one, as they are shown.
package main

import (
	"os"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/kubectl/pkg/cmd/apply"
	"k8s.io/kubectl/pkg/cmd/get"
	"k8s.io/kubectl/pkg/cmd/kustomize"
	"k8s.io/kubectl/pkg/cmd/util"
)

func main() {
	streams := genericclioptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	// What a server warns of is shown, as kubectl does.
	warnings := rest.NewWarningWriter(streams.ErrOut, rest.WarningWriterOptions{Deduplicate: true})
	rest.SetDefaultWarningHandler(warnings)
	root := &cobra.Command{Use: "kubectl", SilenceErrors: true, SilenceUsage: true}
	flags := genericclioptions.NewConfigFlags(true)
	flags.AddFlags(root.PersistentFlags())
	factory := util.NewFactory(util.NewMatchVersionFlags(flags))
	root.AddCommand(
		apply.NewCmdApply(root.Name(), factory, streams),
		get.NewCmdGet(root.Name(), factory, streams),
		kustomize.NewCmdKustomize(streams))
	util.CheckErr(root.Execute())
}
