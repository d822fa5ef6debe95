// The job in Go: amqp091-go and net/http, a goroutine for each event at a time.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strconv"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	batch  = 64
	linger = 5 * time.Millisecond
)

type event struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"`
}

type customerAccount struct {
	Context  string `json:"@context"`
	Type     string `json:"@type"`
	Customer struct {
		Type       string `json:"@type"`
		Email      string `json:"email"`
		GivenName  string `json:"givenName"`
		FamilyName string `json:"familyName"`
	} `json:"customer"`
}

func (a *customerAccount) valid() bool {
	c := &a.Customer
	return a.Context == "https://openactive.io/" && a.Type == "CustomerAccount" && c.Type == "Person" &&
		c.Email != "" && c.GivenName != "" && c.FamilyName != ""
}

type account struct {
	Context    string `json:"@context"`
	Type       string `json:"@type"`
	ID         string `json:"@id"`
	Identifier string `json:"identifier"`
}

type created struct {
	SpecVersion     string  `json:"specversion"`
	Type            string  `json:"type"`
	Source          string  `json:"source"`
	ID              string  `json:"id"`
	Subject         string  `json:"subject"`
	Time            string  `json:"time"`
	DataContentType string  `json:"datacontenttype"`
	CausationID     string  `json:"causationid"`
	Data            account `json:"data"`
}

type peer struct {
	client    *http.Client
	endpoint  string
	key       string
	publisher *amqp.Channel
}

func (p *peer) create(data []byte) (account, error) {
	var answer account
	request, err := http.NewRequest(http.MethodPost, p.endpoint, bytes.NewReader(data))
	if err != nil {
		return answer, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Accept", "application/json")
	request.Header.Set("X-API-KEY", p.key)
	response, err := p.client.Do(request)
	if err != nil {
		return answer, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return answer, err
	}
	if response.StatusCode != http.StatusCreated {
		return answer, fmt.Errorf("imin answered %s", response.Status)
	}
	return answer, json.Unmarshal(body, &answer)
}

func (p *peer) publish(e *event, a account) error {
	out := created{"1.0", "CustomerAccountCreated", "/peer", newID(), e.Subject,
		time.Now().UTC().Format(time.RFC3339Nano), "application/json", e.ID, a}
	body, err := json.Marshal(out)
	if err != nil {
		return err
	}
	confirm, err := p.publisher.PublishWithDeferredConfirmWithContext(context.Background(),
		"customers.events", "customer.account.created", true, false, amqp.Publishing{
			ContentType:  "application/cloudevents+json",
			MessageId:    out.ID,
			Type:         out.Type,
			DeliveryMode: amqp.Persistent,
			Body:         body,
		})
	if err != nil {
		return err
	}
	if !confirm.Wait() {
		return errors.New("the broker refused an event")
	}
	return nil
}

func (p *peer) work(delivery *amqp.Delivery) error {
	var e event
	if err := json.Unmarshal(delivery.Body, &e); err != nil {
		return err
	}
	var data customerAccount
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return err
	}
	if e.Type != "CreateCustomer" || !data.valid() {
		return errors.New("an invalid event")
	}
	a, err := p.create(e.Data)
	if err != nil {
		return err
	}
	return p.publish(&e, account{data.Context, data.Type, a.ID, a.Identifier})
}

// acknowledge settles in batches: everything up to the last tag without an unsettled one before it.
func acknowledge(channel *amqp.Channel, settled <-chan uint64) {
	done := map[uint64]bool{}
	var front, acked uint64
	timer := time.NewTicker(linger)
	write := func() {
		if front > acked {
			acked = front
			check(channel.Ack(front, true))
		}
	}
	for {
		select {
		case tag := <-settled:
			done[tag] = true
			for done[front+1] {
				front++
				delete(done, front)
			}
			if front-acked >= batch {
				write()
			}
		case <-timer.C:
			write()
		}
	}
}

func newID() string {
	var id [16]byte
	_, err := rand.Read(id[:])
	check(err)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// check ends the peer: the bench has nothing that fails.
func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func open(url string) *amqp.Channel {
	connection, err := amqp.Dial(url)
	check(err)
	channel, err := connection.Channel()
	check(err)
	return channel
}

func main() {
	concurrency, err := strconv.Atoi(os.Getenv("CONCURRENCY"))
	check(err)
	consumer, publisher := open(os.Getenv("AMQP_URL")), open(os.Getenv("AMQP_URL"))
	check(publisher.Confirm(false))
	prefetch := concurrency + batch
	if concurrency > batch {
		prefetch = 2 * concurrency
	}
	check(consumer.Qos(prefetch, 0, false))
	transport := &http.Transport{MaxIdleConns: concurrency, MaxIdleConnsPerHost: concurrency, MaxConnsPerHost: concurrency}
	p := &peer{
		client:    &http.Client{Transport: transport},
		endpoint:  os.Getenv("IMIN_BASE_URL") + "/customer-accounts",
		key:       os.Getenv("IMIN_API_KEY"),
		publisher: publisher,
	}
	settled := make(chan uint64, concurrency)
	go acknowledge(consumer, settled)
	deliveries, err := consumer.Consume("customers.create", "", false, false, false, false, nil)
	check(err)
	for i := 0; i < concurrency; i++ {
		go func() {
			for delivery := range deliveries {
				delivery := delivery
				check(p.work(&delivery))
				settled <- delivery.DeliveryTag
			}
		}()
	}
	log.Fatal(<-consumer.NotifyClose(make(chan *amqp.Error)))
}
