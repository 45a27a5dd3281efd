// Package answer is the body of the program that asks backends: it reads one question, answers it within a deadline, and is done.
//
// The fact it leans on: the program is the agent's child and works for nobody else, so that whatever a driver, a server or a
// library does to it is over when it is killed. It drops the privileges that it does not need before it reads anything, and
// gives up by itself, also when the agent is gone.
//
// Do not use it in the agent: it links gRPC. See package backend for the other side.
package answer
