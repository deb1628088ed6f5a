package throttle

import "context"

// Model resolves a model name as the limiter's calls do, for packages that need to know what is limited before they
// acquire. Overrides set at run time are not in it; see [Limiter.Status]. Errors: [*ModelError], and an
// [*ArgumentError] if the limiter was made with one.
func (l *Limiter) Model(ctx context.Context, name string) (Model, error) {
	if l.err != nil {
		return Model{}, l.err
	}
	m, err := l.models(ctx, name)
	if err != nil {
		return Model{}, &ModelError{name, err}
	}
	m.Family, m.scaled = m.family(name), true
	return m, nil
}
