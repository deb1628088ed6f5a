package llm

import (
	"time"

	"github.com/tokenthrottle/throttle"
)

// Report is an [Answer] with a provider's own estimate and usage. Each provider's Answer has these fields, and says what
// they mean.
type Report[E, U any] struct {
	Model, Family  string
	Estimate       E
	Reserved, Used throttle.Usage
	Usage          U
	HasUsage       bool
	Status, Tries  int
	Waited         time.Duration
	Complete       bool
	Err            error
}

// ReportOf is the Report of a call whose Detail is the estimate.
func ReportOf[E, U any](a Answer, usage func(Usage) U) Report[E, U] {
	return Report[E, U]{
		Model: a.Call.Model, Family: a.Family, Estimate: a.Call.Detail.(E), Reserved: a.Call.Reserve, Used: a.Used,
		Usage: usage(a.Reading.Usage), HasUsage: a.Reading.HasUsage, Status: a.Status, Tries: a.Tries, Waited: a.Waited,
		Complete: a.Complete, Err: a.Err,
	}
}
