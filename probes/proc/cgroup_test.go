package proc

import (
	"slices"
	"strings"
	"testing"
)

var (
	idA = strings.Repeat("a1", 32)
	idB = strings.Repeat("b2", 32)
	idC = strings.Repeat("c3", 32)
)

func TestValidID(t *testing.T) {
	for id, want := range map[string]bool{
		idA: true, strings.Repeat("0", 64): true,
		"": false, idA[1:]: false, idA + "0": false, strings.Repeat("A", 64): false, strings.Repeat("g", 64): false,
	} {
		if ValidID(id) != want {
			t.Errorf("%q: want %t", id, want)
		}
	}
}

// The forms that runtimes and cgroup drivers write.
func TestFindIDs(t *testing.T) {
	for line, want := range map[string][]string{
		"0::/kubepods/burstable/pod1/" + idA:                                               {idA},
		"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-" + idA + ".scope":          {idA},
		"0::/kubepods.slice/kubepods-pod1.slice/crio-" + idA + ".scope":                    {idA},
		"0::/kubepods.slice/kubepods-pod1.slice/crio-" + idA + ".scope/container":          {idA},
		"0::/kubepods.slice/docker-" + idA + ".scope":                                      {idA},
		"11:memory:/kubepods/pod1/" + idA:                                                  {idA},
		"1:name=systemd:/system.slice/containerd.service/pod1.slice:cri-containerd:" + idA: {idA},
		"0::/../../pod1/" + idA:                                                            {idA},
		"0::/../cri-containerd-" + idA + ".scope":                                          {idA},
		"0::/docker/" + idC + "/kubelet/kubepods/pod1/" + idA:                              {idC, idA},
		"0::/kubepods/pod1/" + idA + "/docker/" + idB:                                      {idA, idB},
		"0::/kubepods.slice/crio-conmon-" + idA + ".scope":                                 nil,
		"0::/":                        nil,
		"0::/x" + idA:                 nil,
		"0::/" + idA + "0":            nil,
		"0::/" + strings.ToUpper(idA): nil,
		"":                            nil,
	} {
		if got := findIDs(line + "\n"); !slices.Equal(got, want) {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}

func TestFindOwner(t *testing.T) {
	for _, row := range []struct {
		name, text, want string
		known            []string
	}{
		{"known", "0::/" + idA, idA, []string{idA}},
		{"unknown", "0::/" + idA, "", []string{idB}},
		{"outermost known", "0::/" + idA + "/" + idB, idA, []string{idA, idB}},
		{"outermost unknown", "0::/" + idC + "/" + idB, idB, []string{idA, idB}},
		{"any line", "3:cpu:/\n2:pids:/" + idB + "\n0::/\n", idB, []string{idB}},
		{"none", "0::/\n", "", []string{idA}},
	} {
		got := findOwner(parseContainerIDs(row.text), func(id string) bool { return slices.Contains(row.known, id) })
		if got != row.want {
			t.Errorf("%s: %q, want %q", row.name, got, row.want)
		}
	}
}

// FuzzFindIDs compares with the definition: the words of 64 digits, but for those behind "conmon-".
// Whatever the text, its owner is one of them.
func FuzzFindIDs(f *testing.F) {
	f.Add("0::/kubepods/pod1/" + idA)
	f.Fuzz(func(t *testing.T, text string) {
		var want []string
		for word := range strings.FieldsFuncSeq(strings.ReplaceAll(text, "conmon-", "conmon"), notAlphanumeric) {
			if ValidID(word) {
				want = append(want, word)
			}
		}
		got := findIDs(text)
		if !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
		if id := findOwner(parseContainerIDs(text), func(string) bool { return true }); id != "" && !slices.Contains(got, id) || id == "" && len(got) > 0 {
			t.Errorf("%q belongs to %q of %q", text, id, got)
		}
	})
}

func notAlphanumeric(r rune) bool { return r > 0x7f || !isAlphanumeric(byte(r)) }
