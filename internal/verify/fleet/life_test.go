package fleet

import (
	"testing"
	"time"
)

func TestStarved(t *testing.T) {
	start := time.Now()
	at := func(s int) time.Time { return start.Add(time.Duration(s) * time.Second) }
	life := func(to int, granted ...int) Life {
		l := Life{Name: "p", From: start, To: at(to)}
		for _, s := range granted {
			l.Granted = append(l.Granted, at(s))
		}
		return l
	}
	for name, tt := range map[string]struct {
		life            Life
		starved, judged bool
	}{
		"never served":              {life(9), true, true},
		"served late":               {life(9, 7, 8), true, true},
		"not served in the middle":  {life(9, 1, 8), true, true},
		"not served towards an end": {life(9, 1, 2), true, true},
		"served":                    {life(9, 4, 8), false, true},
		"lived too briefly":         {life(4), false, false},
	} {
		starved, judged := Starved([]Life{tt.life}, 5*time.Second)
		if len(starved) > 0 != tt.starved || judged > 0 != tt.judged {
			t.Errorf("%s: starved %q, %d judged", name, starved, judged)
		}
	}
}
