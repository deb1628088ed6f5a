package main
type batchCommand struct{}
func (batchCommand) Run() error {return nil}
type statusCommand struct{}
func (statusCommand) Run() error {return nil}
type providerCommand struct{}
func (providerCommand) Run() error {return nil}
