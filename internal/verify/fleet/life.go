package fleet

import (
	"fmt"
	"time"
)

// Life is when a process began, when it was granted its calls, in order, and when it ended.
type Life struct {
	Name     string
	From, To time.Time
	Granted  []time.Time
}

// Longest is the longest time that the process lived without being granted a call.
func (l *Life) Longest() (longest time.Duration) {
	last := l.From
	for _, at := range l.Granted {
		longest = max(longest, at.Sub(last))
		last = at
	}
	return max(longest, l.To.Sub(last))
}

// Starved says who lived for longer than the most without being granted a call, and how many lived long enough for that.
func Starved(lives []Life, most time.Duration) (starved []string, judged int) {
	for i := range lives {
		l := &lives[i]
		if l.To.Sub(l.From) > most {
			judged++
		}
		if longest := l.Longest(); longest > most {
			starved = append(starved, fmt.Sprintf("%s was granted nothing for %v of a life of %v", l.Name, longest, l.To.Sub(l.From)))
		}
	}
	return starved, judged
}
