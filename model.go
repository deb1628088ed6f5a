package throttle

import "context"

// Model resolves a model name as the limiter's calls do, for packages that need to know what is limited before they
// acquire. Overrides set at run time are not in it; see [Limiter.Status]. Errors: [*ModelError].
func (l *Limiter) Model(ctx context.Context, name string) (Model, error) {
	m, err := l.models(ctx, name)
	if err != nil {
		return Model{}, &ModelError{name, err}
	}
	m.Family, m.scaled = m.family(name), true
	return m, nil
}
