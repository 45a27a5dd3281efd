// Package answer is the body of the program that asks backends: it reads one question, answers it
// within a deadline, and ends.
//
// The program is a child of the agent and works for one question only. So whatever a driver, a
// server or a library does to it is over when it is killed. It drops the privileges that it does
// not need before it reads anything. It gives up by itself, also when the agent is gone.
//
// Do not use it in the agent: it links gRPC. Package backend is the other side.
package answer
