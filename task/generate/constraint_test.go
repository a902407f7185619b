package generate

import (
	"fmt"
	"testing"

	"serval"
)

func TestChecked(t *testing.T) {
	var k checked
	for i := range 2 * maxChecked {
		c := serval.Constraint{Kind: "choice", Source: fmt.Sprintf(`["%d"]`, i), Param: "guided_choice"}
		if err := k.check(c); err != nil {
			t.Fatal(err)
		}
		if err := k.check(serval.Constraint{Kind: "choice", Source: `["0"]`, Param: "other"}); err != nil {
			t.Fatal(err)
		}
	}
	if len(k.known) != maxChecked || k.order.Len() != maxChecked {
		t.Errorf("%d remembered, %d in order; at most %d", len(k.known), k.order.Len(), maxChecked)
	}
	if k.known[serval.Constraint{Kind: "choice", Source: `["0"]`}] == nil {
		t.Error("the one that was used all the time is forgotten")
	}
	bad := serval.Constraint{Kind: "json_schema", Source: `{"type": 3}`, Param: "p"}
	for range 2 {
		if k.check(bad) == nil {
			t.Error("what does not compile was taken")
		}
	}
}
