//go:build tools

// tools/kustomize/tools.go -- Names the program that go.mod and go.sum pin; ./dev setup builds it.
package tools

import _ "sigs.k8s.io/kustomize/kustomize/v5"
