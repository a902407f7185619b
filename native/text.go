package native

import (
	"fmt"
	"io"
	"strings"
)

// Text writes the report for a person to read.
func (r Report) Text(w io.Writer) error {
	var b strings.Builder
	line := func(name, value string) { fmt.Fprintf(&b, "  %-12s %s\n", name, value) }

	b.WriteString("Machine\n")
	line("system", strings.TrimSpace(r.OS+"/"+r.Arch+" "+r.Kernel))
	cpu := fmt.Sprintf("%d cores", r.CPU.Cores)
	if r.CPU.Limit > 0 {
		cpu += fmt.Sprintf(", limited to %.4g by the container", r.CPU.Limit)
	}
	if r.CPU.Model != "" {
		cpu = r.CPU.Model + ", " + cpu
	}
	line("cpu", cpu)
	features := strings.Join(r.CPU.Features, " ")
	if features == "" {
		features = "none known"
	}
	line("features", features)
	memory := gigabytes(r.Memory.Total) + ", " + gigabytes(r.Memory.Available) + " available"
	if r.Memory.Limit > 0 {
		memory += ", limited to " + gigabytes(r.Memory.Limit) + " by the container"
	}
	line("memory", memory)
	line("glibc", r.GLibC.text(""))
	line("libstdc++", r.LibStdCXX.text("GLIBCXX_"))

	b.WriteString("Package clients\n")
	for _, c := range r.Clients {
		value := "not found"
		if c.Found {
			value = fmt.Sprintf("%s (%s)", c.Version, c.Path)
			if c.Command != string(c.Name) {
				value = fmt.Sprintf("%s (%s, as %s)", c.Version, c.Path, c.Command)
			}
		}
		line(string(c.Name), value)
	}

	b.WriteString("Folders\n")
	line("cache", r.Cache.text())
	if r.Offline != nil {
		line("offline", r.Offline.Path)
	}

	b.WriteString("Libraries\n")
	for _, l := range r.Libraries {
		line(l.Name, l.text())
	}

	if r.OK() {
		b.WriteString("All is well.\n")
	} else {
		b.WriteString("Problems\n")
		for i, p := range r.Problems {
			fmt.Fprintf(&b, "  %d. %s\n     mend: %s\n", i+1, p.What, p.Fix)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (s SystemLibrary) text(prefix string) string {
	if !s.Found {
		return "not found"
	}
	return prefix + s.Version + " (" + s.Path + ")"
}

func (f Folder) text() string {
	if f.Writable {
		return f.Path
	}
	return f.Path + " (not writable)"
}

func (l LibraryReport) text() string {
	if !l.Found {
		return strings.TrimSpace("missing " + l.Version)
	}
	check := "not a pinned file"
	if l.Verified {
		check = "sha256 ok"
	} else if l.From != "path" {
		check = "sha256 WRONG"
	}
	version := l.Version
	if version != "" {
		version += " "
	}
	from := l.From
	if l.Package != "" {
		from += ", " + l.Package
	}
	return fmt.Sprintf("%sfound (%s; %s)\n  %12s %s", version, from, check, "", l.Path)
}

func gigabytes(n int64) string { return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30)) }
